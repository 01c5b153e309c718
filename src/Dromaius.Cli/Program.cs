Console.WriteLine("dromaius");
return 0;
